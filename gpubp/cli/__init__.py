"""The commands of gpubp, one thin file each."""
