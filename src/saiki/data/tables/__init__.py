"""Tables in files of any kind: their encoding, layout, cells, roles of columns, and times."""
