"""Reading and writing files of events: ROOT, the DAQ's sequential format, and what basf2 stores in them."""
