"""Reads files of events (ROOT files, and the sequential format of the DAQ), and writes ROOT files."""
