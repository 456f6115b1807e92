// MicroPython's own board under our name.
#define MICROPY_HW_BOARD_NAME "Parkgate on ESP32-S3 development board with 4 MB of flash or more"
#include "boards/ESP32_GENERIC_S3/mpconfigboard.h"
