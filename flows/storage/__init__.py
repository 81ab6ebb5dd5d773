"""Files that exist whole or not at all, on a disk or in an object store, with checksums of their columns."""
