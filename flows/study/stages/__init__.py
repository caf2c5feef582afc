"""The stages of a cell: a module with a pure function for each, and the table that names them."""
