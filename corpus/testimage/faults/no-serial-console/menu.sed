s/ console=tty0 console=ttyS0,115200n8 loglevel=4/ loglevel=4/
