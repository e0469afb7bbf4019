//! The sandbox's program: a container that holds a network namespace and does nothing. It is assembled here, a few instructions per
//! architecture, and imported into Docker when it is missing, so that a box needs no registry for it.

use crate::archive::{Archive, Entry};

/// Name of the image. The number changes whenever its content does.
pub(super) const IMAGE: &str = "skerry.dev/pause:1";
/// The same, as the import call wants it.
pub(super) const REPOSITORY: &str = "skerry.dev/pause";
pub(super) const TAG: &str = "1";
/// Path of the program in the image.
pub(super) const PROGRAM: &str = "/pause";
/// Marks the image as ours, for people who clean up.
pub(super) const LABEL: &str = "skerry.dev/pause";

/// A root filesystem with the program and nothing else, as a tar archive. `None` for an architecture that has no program yet.
/// `architecture` is Docker's (and Go's) name.
pub(super) fn root_filesystem(architecture: &str) -> Option<Vec<u8>> {
    let program = match architecture {
        "amd64" => elf64(EM_X86_64, 0, &X86_64),
        "arm64" => elf64(EM_AARCH64, 0, &words(&AARCH64)),
        "arm" => elf32(EM_ARM, EF_ARM_EABI5, &words(&ARM)),
        "riscv64" => elf64(EM_RISCV, EF_RISCV_DOUBLE, &words(&RISCV64)),
        _ => return None,
    };
    // Of time 0: the same bytes, and so the same image, on every box.
    let name = PROGRAM.trim_start_matches('/');
    let mut archive = Archive::default();
    archive.add(Entry { name, mode: 0o555, modified: 0, content: &program });
    Some(archive.finish())
}

const EM_ARM: u16 = 40;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
const EM_RISCV: u16 = 243;
const EF_ARM_EABI5: u32 = 0x0500_0000;
const EF_RISCV_DOUBLE: u32 = 0x0000_0004;

// Each program asks the kernel to sleep until a signal comes, and asks again. As process 1 of its container it has no handler, so
// SIGTERM is ignored and `docker stop` ends it with SIGKILL; its grace period is 0.

/// `again: mov eax, 34 (pause); syscall; jmp again`
const X86_64: [u8; 9] = [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];

/// `mov x8, 73 (ppoll); again: mov x0..x4, 0; svc 0; b again`: a poll of no descriptors without a timeout.
const AARCH64: [u32; 8] =
    [0xd280_0928, 0xd280_0000, 0xd280_0001, 0xd280_0002, 0xd280_0003, 0xd280_0004, 0xd400_0001, 0x17ff_fffa];

/// `again: mov r7, 29 (pause); svc 0; b again`
const ARM: [u32; 3] = [0xe3a0_701d, 0xef00_0000, 0xeaff_fffc];

/// `li a7, 73 (ppoll); again: li a0..a4, 0; ecall; j again`
const RISCV64: [u32; 8] =
    [0x0490_0893, 0x0000_0513, 0x0000_0593, 0x0000_0613, 0x0000_0693, 0x0000_0713, 0x0000_0073, 0xfe9f_f06f];

fn words(code: &[u32]) -> Vec<u8> {
    code.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Where the file is mapped. Any page above the kernel's `mmap_min_addr` does.
const BASE: u32 = 0x0001_0000;
const IDENT: [u8; 4] = [0x7f, b'E', b'L', b'F'];
const LITTLE_ENDIAN: u8 = 1;
const PAGE: u32 = 0x1000;

/// A static executable: the ELF header, one program header that maps the whole file readable and executable, the code.
fn elf64(machine: u16, flags: u32, code: &[u8]) -> Vec<u8> {
    const HEADERS: u32 = 64 + 56;
    let size = u64::from(HEADERS) + code.len() as u64;
    let mut elf = start(2, machine);
    elf.extend(u64::from(BASE + HEADERS).to_le_bytes()); // entry
    elf.extend(64u64.to_le_bytes()); // offset of the program header
    elf.extend(0u64.to_le_bytes()); // no section headers
    elf.extend(flags.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes()); // sizes and counts of the headers
    }
    elf.extend(1u32.to_le_bytes()); // PT_LOAD
    elf.extend(5u32.to_le_bytes()); // readable, executable
    for long in [0, u64::from(BASE), u64::from(BASE), size, size, u64::from(PAGE)] {
        elf.extend(long.to_le_bytes()); // offset, addresses, sizes, alignment
    }
    elf.extend(code);
    elf
}

/// The same for 32 bits; the program header's fields come in another order.
fn elf32(machine: u16, flags: u32, code: &[u8]) -> Vec<u8> {
    const HEADERS: u32 = 52 + 32;
    let size = HEADERS + u32::try_from(code.len()).unwrap_or(0);
    let mut elf = start(1, machine);
    for word in [BASE + HEADERS, 52, 0, flags] {
        elf.extend(word.to_le_bytes());
    }
    for half in [52u16, 32, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    for word in [1, 0, BASE, BASE, size, size, 5, PAGE] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

fn start(class: u8, machine: u16) -> Vec<u8> {
    let mut elf = IDENT.to_vec();
    elf.extend([class, LITTLE_ENDIAN, 1, 0]);
    elf.extend([0; 8]);
    elf.extend(2u16.to_le_bytes()); // ET_EXEC
    elf.extend(machine.to_le_bytes());
    elf.extend(1u32.to_le_bytes());
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_an_executable_of_its_architecture() {
        for (architecture, class, machine) in
            [("amd64", 2, EM_X86_64), ("arm64", 2, EM_AARCH64), ("arm", 1, EM_ARM), ("riscv64", 2, EM_RISCV)]
        {
            let tar = root_filesystem(architecture).expect("a program");
            assert_eq!(tar.len() % 512, 0, "{architecture}");
            assert_eq!(&tar[..6], b"pause\0");
            let elf = &tar[512..];
            assert_eq!((&elf[..4], elf[4]), (&IDENT[..], class), "{architecture}");
            assert_eq!(elf[18..20], machine.to_le_bytes(), "{architecture}");
        }
        assert!(root_filesystem("s390x").is_none());
    }

    /// The program of the machine that runs the test really starts, sleeps, and ends by a signal.
    #[test]
    fn the_program_sleeps_until_it_is_killed() {
        use std::io::Write as _;
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        use std::os::unix::process::ExitStatusExt as _;

        let architecture = crate::facts::architecture();
        let tar = root_filesystem(architecture).expect("a program for this machine");
        let size =
            usize::from_str_radix(std::str::from_utf8(&tar[124..135]).expect("text"), 8).expect("octal");
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("pause");
        let mut file =
            std::fs::OpenOptions::new().create_new(true).write(true).mode(0o755).open(&path).expect("a file");
        file.write_all(&tar[512..512 + size]).expect("written");
        drop(file);
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o111, 0o111);
        let mut child = std::process::Command::new(&path).spawn().expect("it starts");
        let stat = format!("/proc/{}/stat", child.id());
        let sleeps = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains("(pause) S"))
        });
        child.kill().expect("killed");
        let status = child.wait().expect("waited for");
        assert!(sleeps, "it ended by itself: {status}");
        assert_eq!(status.signal(), Some(9));
    }
}
