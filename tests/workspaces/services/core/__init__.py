"""What all services build on."""
