"""TVM's Relax as a way in: regions of a graph, told as plain data, become modules.

`calls` is the plain data, which a process with TVM makes and one without it reads;
`operators` is the table of what can be translated; `importer` makes the module.
"""
