"""Other people's datasets, each format read by one small module into one neutral view (see ``view``)."""
