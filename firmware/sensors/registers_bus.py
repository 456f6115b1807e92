"""Registers of a chip, the same over I²C and SPI."""


class I2cRegisters:
    """`i2c` as machine.I2C. `burst` is or-ed into the address of reads over several registers (LIS3DH: 0x80)."""

    def __init__(self, i2c, address: int, burst: int = 0):
        self._i2c = i2c
        self._address = address
        self._burst = burst

    def write(self, register: int, value: int):
        self._i2c.writeto_mem(self._address, register, bytes([value]))

    def read_into(self, register: int, buffer):
        self._i2c.readfrom_mem_into(self._address, register | (self._burst if len(buffer) > 1 else 0), buffer)


class SpiRegisters:
    """`spi` as machine.SPI, `select(0 or 1)` drives the chip's select line. Reads set bit 7 of the address and bit 6
    to go on over registers, as LIS3DH and ADXL345 both want it."""

    def __init__(self, spi, select):
        self._spi = spi
        self._select = select

    def write(self, register: int, value: int):
        self._select(0)
        try:
            self._spi.write(bytes([register, value]))
        finally:
            self._select(1)

    def read_into(self, register: int, buffer):
        self._select(0)
        try:
            self._spi.write(bytes([register | 0x80 | (0x40 if len(buffer) > 1 else 0)]))
            self._spi.readinto(buffer)
        finally:
            self._select(1)
