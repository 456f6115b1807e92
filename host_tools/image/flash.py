"""`parkgate flash`: MicroPython and the firmware onto a board, or only a new firmware.

    parkgate flash --board pico_w --firmware RPI_PICO_W-20260406-v1.28.0.uf2
    parkgate flash --board pico_w --app-only            (keeps settings, identity and readings)
    parkgate flash --board esp32_generic --dry-run DIR  (writes the bytes to DIR, touches no board)

MicroPython's image is a file that you download once; it is then kept, with its sha256, and used again without a
network. Everything else is made here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from rich.console import Console

from host_tools.base import files, output, paths, profile_files
from host_tools.image import boards, flash_image, flash_write
from host_tools.image.boards import Board
from host_tools.image.flash_image import FlashError

IMAGE_BYTES_MAX = 64 * 1024 * 1024
NOT_CHECKED = (
    "NOT CHECKED against a known hash: nobody has vouched that this is MicroPython's own image. Compare the sha256 "
    "with the one of its download page, or give that with --sha256"
)
SUFFIX = {"rp2": ".uf2", "esp32": ".bin"}


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser(
        "flash",
        help="write MicroPython and the firmware to a board",
        description="Write MicroPython and the firmware to a board. Without --app-only or --keep-files the board's "
        "file system is formatted: identity, settings and, on boards without a raw journal, readings are lost.",
    )
    parser.add_argument("--board", required=True, help="one of: " + ", ".join(n for n in boards.names() if n != "unix"))
    parser.add_argument("--port", default="auto", help="serial port; auto takes the only board on USB")
    parser.add_argument("--firmware", type=Path, metavar="FILE", help="MicroPython's image; kept for the next time")
    parser.add_argument("--sha256", metavar="HEX", help="the SHA-256 that the image must have")
    parser.add_argument("--data", type=Path, metavar="DIR", help="files for /data: settings.json, meters/")
    parser.add_argument(
        "--meters", metavar="NAME,…", default="",
        help="meter profiles to copy, if there is no room for all; also folders with your own",
    )  # fmt: skip
    parser.add_argument("--keep-files", action="store_true", help="leave the board's file system as it is")
    parser.add_argument(
        "--app-only", action="store_true", help="only replace the compiled firmware, over the serial port"
    )
    parser.add_argument("--code", help="with --app-only: code of the gateway (default: PARKGATE_CODE)")
    parser.add_argument("--drive", type=Path, metavar="DIR", help="where the RP2's boot loader drive is mounted")
    parser.add_argument(
        "--dry-run", type=Path, metavar="DIR", help="write the exact bytes and plan.json to DIR instead"
    )
    output.add_json(parser)


def run(args) -> int:
    console = Console(highlight=False, stderr=output.wanted(args))
    board = boards.load(args.board)
    if args.dry_run:
        files.check_folder(args.dry_run)
    if args.app_only:
        return _app_only(args, board, console)
    firmware, name = find_firmware(board, args.firmware, args.sha256)
    digest = hashlib.sha256(firmware).hexdigest()
    checked = _checked_against(board, name, digest, args)
    console.print(f"{name}: sha256 {digest}")
    if not args.firmware:
        console.print(f"  (the kept copy, in {cache_folder(board)})")
    console.print(f"  {checked or NOT_CHECKED}")
    with console.status("compiling the firmware, making the images"):
        meters = tuple(name.strip() for name in args.meters.split(",") if name.strip())
        profile_files.use([Path(name) for name in meters if Path(name).is_dir()])
        meters = tuple(name for name in meters if not Path(name).is_dir())
        plan = flash_image.plan(board, firmware, args.data, args.keep_files, meters)
    keep(board, name, firmware)
    for address, data, what in sorted(plan.writes):
        console.print(f"  {address:#010x}  {len(data):>9,} bytes  {what}")
    for note in plan.notes:
        console.print(f"  - {note}")
    document = {"image": {"name": name, "sha256": digest, "checked_against": checked}, "plan": plan.describe()}
    if args.dry_run:
        _write_outputs(args.dry_run, plan.outputs)
        console.print(f"written to {args.dry_run}; no board was touched")
        output.show(args, {**document, "dry_run": str(args.dry_run)})
        return 0
    if board.port == "rp2":
        flash_write.write_rp2(plan, args.port, args.drive, console)
    else:
        flash_write.write_esp32(plan, args.port, console)
    console.print("The board has what it should. Next: `parkgate provision`, or `parkgate console`.")
    output.show(args, {**document, "dry_run": None})
    return 0


def _app_only(args, board: Board, console: Console) -> int:
    if board.port == "unix":
        raise FlashError("this board is simulated: `parkgate simulate FOLDER` starts it with the present firmware")
    with console.status("compiling the firmware"):
        app = flash_image.app_files(board, table_in_flash=board.port == "rp2")
        table = flash_image.app_files(board, table_in_flash=False)["lib/p256.tbl"]
    if args.dry_run:
        _write_outputs(args.dry_run, {**app, "lib/p256.tbl": table})
        console.print(f"written to {args.dry_run}; no board was touched")
        output.show(args, {"app": sorted(app), "dry_run": str(args.dry_run)})
        return 0
    said = flash_write.write_app(board, app, table, args.port, console, args.code)
    if said["in_heap"] and not said["waits"]:
        console.print(
            f"Up to {said['in_heap']:,} bytes of changed code take heap now, for the code that runs in place is still "
            f"the one before: `parkgate flash --board {board.name} --keep-files` brings it up to date, and leaves all "
            "files as they are."
        )
    output.show(args, {"app": sorted(app), "dry_run": None, **said})
    return 0


def _write_outputs(folder: Path, outputs: dict[str, bytes]) -> None:
    for name, data in outputs.items():
        path = folder / name
        files.make_folder(path.parent)
        files.write(path, data)


# MicroPython's images


def cache_folder(board: Board) -> Path:
    """Where images for this board are kept."""
    return paths.cache_folder() / "micropython" / board.data["micropython"]["board"]


def find_firmware(board: Board, file: Path | None, sha256: str | None) -> tuple[bytes, str]:
    """(image, its file name) from `file`, else the newest one that is kept. Raises FlashError."""
    if board.port == "unix":
        raise FlashError("this board is simulated: `parkgate simulate FOLDER` starts it")
    cache = cache_folder(board)
    if file is None:
        try:
            kept = sorted(cache.glob("*" + SUFFIX[board.port]), key=lambda path: path.stat().st_mtime)
        except OSError:
            kept = []  # a folder that cannot be looked into keeps nothing for us
        if not kept:
            raise FlashError(where_to_get(board))
        file = kept[-1]
    try:
        data = files.read_bytes(file, IMAGE_BYTES_MAX)
    except files.FileTrouble as error:
        raise FlashError(f"--firmware: {error}. {where_to_get(board)}") from error
    digest = hashlib.sha256(data).hexdigest()
    if sha256 and sha256.lower() != digest:
        raise FlashError(f"{file} has the sha256 {digest}, not the one given: download it again")
    note = cache / (file.name + ".sha256")
    if file.parent == cache and _noted(note) not in ("", digest):
        raise FlashError(f"{file} is no longer what was kept: delete it and give --firmware FILE once more")
    return data, file.name


def _noted(note: Path) -> str:
    """The hash that was written down when an image was kept, "" where there is none."""
    try:
        return (files.read_text(note, 4096).split() or [""])[0]
    except files.FileTrouble:
        return ""


def _checked_against(board: Board, name: str, digest: str, args) -> str:
    """Against which hash, known from elsewhere, this image was checked; "" where nobody has vouched for it. What was
    kept has the hash of the day on which it was kept: that tells damage, not whose it is."""
    if args.sha256:
        return "its sha256 is the one given with --sha256"
    if board.data["micropython"].get("sha256", {}).get(name) == digest:
        return "its sha256 is the one that this version of Parkgate knows"
    return ""


def keep(board: Board, name: str, firmware: bytes) -> None:
    """Keep an image that fits its board for the next time. A cache that cannot be written is no reason to stop."""
    cache = cache_folder(board)
    try:
        files.make_folder(cache)
        files.write(cache / name, firmware)
        files.write(cache / (name + ".sha256"), f"{hashlib.sha256(firmware).hexdigest()}  {name}\n")
    except files.FileTrouble:
        pass


def where_to_get(board: Board) -> str:
    """Exactly where the official image is to be had, and what to type then."""
    mp = board.data["micropython"]
    name = f"{mp['board']}-*{SUFFIX[board.port]}"
    return (
        f"MicroPython's image for {board.name} is needed once. Download the newest release {name} from {mp['page']} "
        f"and give it: parkgate flash --board {board.name} --firmware FILE. "
        f"Or, online: pip install mpflash, then mpflash download --board {mp['board']} --version stable"
    )
