"""The visual Turing test."""
