"""Several runs compared: methods against each other and against the trivial answers, on patients held out."""
