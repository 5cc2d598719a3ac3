"""The only room that knows Slicer: nodes, jobs as child processes, slice views, missing packages."""
