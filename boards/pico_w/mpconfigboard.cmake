# MicroPython's own board, with our manifest and name.
include(${MICROPY_PORT_DIR}/boards/RPI_PICO_W/mpconfigboard.cmake)
include(${MICROPY_PORT_DIR}/boards/RPI_PICO_W/mpconfigvariant.cmake OPTIONAL)
set(MICROPY_BOARD_PINS ${MICROPY_PORT_DIR}/boards/RPI_PICO_W/pins.csv)
set(MICROPY_FROZEN_MANIFEST ${MICROPY_BOARD_DIR}/manifest.py)
