"""Where images come from: folders, lists, tables, data sets; and the manifest made of them."""
