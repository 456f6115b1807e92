// MicroPython's own board under our name.
#define MICROPY_HW_BOARD_NAME "Parkgate on ESP32 development board with 4 MB of flash"
#include "boards/ESP32_GENERIC/mpconfigboard.h"
