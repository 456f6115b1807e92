// MicroPython's own board under our name.
#define MICROPY_HW_BOARD_NAME "Parkgate on Wireless-Tag WT32-ETH01 (ESP32, Ethernet, header for RS-485)"
#include "boards/ESP32_GENERIC/mpconfigboard.h"
