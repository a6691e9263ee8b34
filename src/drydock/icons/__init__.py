"""Icons of containers: fetched once from public collections, checked, kept on disk, never loaded by the browser itself."""
