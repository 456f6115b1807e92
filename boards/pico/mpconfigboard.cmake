# MicroPython's own board, with our manifest and name.
include(${MICROPY_PORT_DIR}/boards/RPI_PICO/mpconfigboard.cmake)
include(${MICROPY_PORT_DIR}/boards/RPI_PICO/mpconfigvariant.cmake OPTIONAL)
set(MICROPY_BOARD_PINS ${MICROPY_PORT_DIR}/boards/RPI_PICO/pins.csv)
set(MICROPY_FROZEN_MANIFEST ${MICROPY_BOARD_DIR}/manifest.py)
