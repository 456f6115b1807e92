# ruff: noqa: F821
# For those who build MicroPython themselves, with everything frozen into it:
#     make -C micropython/ports/esp32 BOARD_DIR=.../boards/esp32_s3
# The words used here: MicroPython's documentation, "MicroPython manifest files".
# Its _boot.py may stay: on ESP32 it formats only what was never written.
freeze("$(PORT_DIR)/modules")
include("$(MPY_DIR)/extmod/asyncio")
require("onewire")
require("umqtt.simple")
require("ssl")
package("parkgate", base_path="$(BOARD_DIR)/../../lib", opt=2)
freeze("$(BOARD_DIR)/../../firmware", opt=2)
freeze("$(BOARD_DIR)", "board.py", opt=2)
