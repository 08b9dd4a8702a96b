"""The HDF5 format, version 1 (``docs/format.md``)."""
