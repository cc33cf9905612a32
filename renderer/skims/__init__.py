"""The embedded application's skims: what a job asks for, which events are accepted, and what is written of them."""
