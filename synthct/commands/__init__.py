"""The verbs of the command line, one file each: ``add_options(parser)`` and ``run(options, events)``.

A verb's file imports only the standard library when it is loaded, so that ``--help`` answers at once.
"""
