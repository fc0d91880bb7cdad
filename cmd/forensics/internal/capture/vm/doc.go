// Package vm runs one virtual machine under QEMU and keeps what it says.
//
// # Nouns
//
// [Options] say which machine; [Command] turns them into the exact argv and
// does nothing else. [Start] runs it and returns a [VM]. Three byte channels
// join the two processes, all of them Unix sockets on which we listen before
// QEMU exists:
//
//   - serial: the guest's first serial port. Its bytes go to [Sinks].Raw and,
//     with their times, to [Sinks].Cast (asciicast version 2) as they come, and
//     then to a bounded buffer that the dialogue reads through [VM.Serial].
//   - journal: the virtio-serial port org.forensics.journal. The guest sends
//     framed streams over it, see [Transfer] and [VM.Receive].
//   - monitor: QMP, the JSON protocol of docs/interop/qmp-spec.rst in QEMU's
//     tree, for status, screenshots, power and events.
//
// # Invariants
//
// No byte of the serial port is lost. QEMU connects to our sockets while it
// reads its command line, so the port has a reader before the guest has a CPU;
// and the CPUs start (-S, then cont) only after QMP is negotiated, so that no
// event is missed either and the start of the boot has an exact time. A slow or
// absent dialogue never blocks the guest: past [SerialBuffer] unread bytes the
// oldest leave the dialogue's buffer, never the files.
//
// QEMU never outlives its caller. On Linux the kernel kills it when the calling
// process dies, also of SIGKILL (PR_SET_PDEATHSIG, prctl(2)); that holds for a
// wrapper which execs QEMU, not for one that forks it, and other Unix systems
// have no such signal. It runs in a process group of its own, so that a
// Ctrl-C is the caller's to handle, and [VM.Stop] ends the whole group.
//
// No socket outlives the start: the private directory that holds them is
// removed as soon as QEMU has connected, so that even a killed caller leaves
// nothing behind, but in that first part of a second.
//
// A QEMU that refuses is evidence, not just an error: [StartError] carries its
// standard error verbatim, its argv and its exit status.
//
// /dev/kvm that opens proves nothing: there are hosts where guests hang or
// abort under it. [Smoke] boots a boot sector of our own and says whether the
// accelerator runs guests; [ChooseAccel] falls back to software emulation.
//
// # Left out
//
// No restart and no snapshot: a VM is started once. No -daemonize, which would
// make QEMU survive us. No pvpanic device: it changes the machine that is
// recorded; who wants GUEST_PANICKED events adds it as an extra argument.
// Windows has neither process groups nor Pdeathsig: there [Start] returns
// [errors.ErrUnsupported].
package vm
