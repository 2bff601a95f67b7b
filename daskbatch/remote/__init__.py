"""WHAT is on an object store: listing, fetching, putting and composing objects, by URL."""
