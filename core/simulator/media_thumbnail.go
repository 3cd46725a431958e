package simulator

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"

	_ "image/gif" // what thumbnailOf can read beside JPEG
	_ "image/png" // likewise
)

const (
	thumbnailSide = 100      // pixels of the longer side, about WhatsApp's own
	pixelsRead    = 32 << 20 // a picture with more is not decoded: its file may be small
)

// thumbnailOf returns the size of a JPEG, PNG or GIF picture and a small JPEG of it; zero and nil for
// what it cannot read.
func thumbnailOf(data []byte) (width, height uint32, thumbnail []byte) {
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil || config.Width <= 0 || config.Height <= 0 {
		return 0, 0, nil
	}
	width, height = uint32(config.Width), uint32(config.Height)
	if config.Width*config.Height > pixelsRead {
		return width, height, nil
	}
	picture, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return width, height, nil
	}
	var out bytes.Buffer
	if err = jpeg.Encode(&out, shrink(picture, thumbnailSide), &jpeg.Options{Quality: 60}); err != nil {
		return width, height, nil
	}
	return width, height, out.Bytes()
}

// shrink scales a picture down to a longer side, each pixel the mean of those that it stands for, over white.
func shrink(from image.Image, side int) image.Image {
	b := from.Bounds()
	longer := max(b.Dx(), b.Dy())
	if longer < side {
		side = longer
	}
	w, h := max(1, b.Dx()*side/longer), max(1, b.Dy()*side/longer)
	to := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			x0, x1 := b.Min.X+x*b.Dx()/w, b.Min.X+(x+1)*b.Dx()/w
			y0, y1 := b.Min.Y+y*b.Dy()/h, b.Min.Y+(y+1)*b.Dy()/h
			to.SetRGBA(x, y, mean(from, image.Rect(x0, y0, x1, y1)))
		}
	}
	return to
}

// samples bounds what is looked at in each direction of one pixel's area: more would show no difference.
const samples = 8

func mean(from image.Image, area image.Rectangle) color.RGBA {
	var r, g, b, n uint64
	dx, dy := max(1, area.Dx()/samples), max(1, area.Dy()/samples)
	for y := area.Min.Y; y < area.Max.Y; y += dy {
		for x := area.Min.X; x < area.Max.X; x += dx {
			cr, cg, cb, ca := from.At(x, y).RGBA() // multiplied by alpha
			white := 0xffff - ca
			r, g, b, n = r+uint64(cr+white), g+uint64(cg+white), b+uint64(cb+white), n+1
		}
	}
	return color.RGBA{uint8(r / n >> 8), uint8(g / n >> 8), uint8(b / n >> 8), 0xff}
}
