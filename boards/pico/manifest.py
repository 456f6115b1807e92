# ruff: noqa: F821
# For those who build MicroPython themselves, with everything frozen into it and a raw journal region:
#     make -C micropython/ports/rp2 BOARD_DIR=.../boards/pico
# The words used here: MicroPython's documentation, "MicroPython manifest files".
freeze("$(PORT_DIR)/modules", "rp2.py")  # not its _boot.py: ours never formats what it cannot read
include("$(MPY_DIR)/extmod/asyncio")
require("onewire")
require("umqtt.simple")
package("parkgate", base_path="$(BOARD_DIR)/../../lib", opt=2)
freeze("$(BOARD_DIR)/../../firmware", opt=2)
freeze("$(BOARD_DIR)", ("board.py", "_boot.py"), opt=2)
