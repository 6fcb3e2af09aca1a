"""Image files that Pillow does not write."""

import io
import struct
import zlib


def png_of(depth, color_type, size, rows, *more):
  """A PNG of (width, height) as Pillow does not write it."""

  def chunk(name, data):
    crc = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

  header = struct.pack(">IIBBBBB", *size, depth, color_type, 0, 0, 0)
  data = zlib.compress(b"".join(b"\0" + row for row in rows))
  chunks = [(b"IHDR", header), *more, (b"IDAT", data), (b"IEND", b"")]
  return io.BytesIO(
    b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)
  )


def png_of_16_bits(values, color_type):
  size = values.shape[1::-1]
  rows = [row.astype(">u2").tobytes() for row in values]
  return png_of(16, color_type, size, rows)


def rgb_tiff_of_16_bits(values, order, planes):
  """A TIFF of [16,16,3]; with two "planes" each channel is in its own strip."""

  def entry(tag, kind, count, value):
    return struct.pack(f"{order}HHII", tag, kind, count, value)

  def short(tag, value):
    packed = struct.pack(f"{order}HH", value, 0)
    return struct.pack(f"{order}HHI", tag, 3, 1) + packed

  data = values.astype(f"{order}u2").tobytes()
  strips = [entry(273, 4, 1, 16), entry(279, 4, 1, len(data))]
  if planes == 2:
    data += struct.pack(f"{order}6I", 16, 528, 1040, 512, 512, 512)
    strips = [entry(273, 4, 3, 1552), entry(279, 4, 3, 1564)]
  tags = [
    *(short(256, 16), short(257, 16), entry(258, 3, 3, 8), short(259, 1)),
    *(short(262, 2), strips[0], short(277, 3), short(278, 16)),
    *(strips[1], short(284, planes)),
  ]
  content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(
    f"{order}I", 16 + len(data)
  )
  content += struct.pack(f"{order}HHHH", 16, 16, 16, 0) + data
  content += struct.pack(f"{order}H", len(tags)) + b"".join(tags) + bytes(4)
  return io.BytesIO(content)
