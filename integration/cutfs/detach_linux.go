package cutfs

import "golang.org/x/sys/unix"

const detach = unix.MNT_DETACH
