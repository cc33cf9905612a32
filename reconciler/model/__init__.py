"""The values that plans and their execution use, and the ports of engines and of the permission to launch."""
