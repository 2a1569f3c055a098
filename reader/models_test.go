package reader

import (
	"encoding/xml"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestModels(t *testing.T) {
	seen := map[string]bool{}
	for _, model := range Models {
		require.Regexp(t, regexp.MustCompile(`^[0-9A-F]{4}:[0-9A-F]{4}$`), model.USB)
		require.False(t, seen[model.USB], model.USB)
		seen[model.USB] = true
		require.Contains(t, []Position{PositionTop, PositionFront, PositionSlot}, model.Position)
		found, known := ModelOf(model.Name + " [Interface 1] (1.00) 00 00")
		require.True(t, known)
		require.Equal(t, model, found)
	}
	_, known := ModelOf("Virtual PCD 00 00")
	require.False(t, known)
	_, known = ModelOf("")
	require.False(t, known)
}

func TestPositionOf(t *testing.T) {
	for name, position := range map[string]Position{
		"ACS ACR122U PICC Interface 00 00":           PositionTop,
		"ACS ACR1281 1S Dual Reader [ICC] 00 00":     PositionSlot,
		"HID Global OMNIKEY 5422 [Contactless] 0":    PositionTop,
		"Identiv SCR3500 A Contact Reader 00 00":     PositionSlot,
		"Identiv uTrust 3720 Contactless Reader 0":   PositionTop,
		"Virtual PCD 00 00":                          PositionUnknown,
		"Electrician's Kit":                          PositionUnknown,
		"Some Contactless & Contact Reader, unknown": PositionTop,
	} {
		require.Equal(t, position, PositionOf(name), name)
	}
}

// TestModelsAreTheDriversOwn compares names and identities with the list of the driver,
// where it is installed.
func TestModelsAreTheDriversOwn(t *testing.T) {
	file, err := os.Open("/etc/libccid_Info.plist")
	if err != nil {
		t.Skip("libccid is not installed here")
	}
	defer file.Close()
	vendors, products, names := driverList(t, file)
	listed := map[string]string{}
	for i, name := range names {
		usb := strings.ToUpper(strings.TrimPrefix(vendors[i], "0x") + ":" + strings.TrimPrefix(products[i], "0x"))
		listed[usb+" "+name] = name
	}
	for _, model := range Models {
		require.Contains(t, listed, model.USB+" "+model.Name)
	}
}

// driverList reads the three parallel lists of the driver's property list.
func driverList(t *testing.T, file io.Reader) (vendors, products, names []string) {
	decoder := xml.NewDecoder(file)
	decoder.Strict = false
	lists := map[string]*[]string{"ifdVendorID": &vendors, "ifdProductID": &products, "ifdFriendlyName": &names}
	var current *[]string
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "key" && start.Name.Local != "string" {
			continue
		}
		var text string
		require.NoError(t, decoder.DecodeElement(&text, &start))
		if start.Name.Local == "key" {
			current = lists[text]
		} else if current != nil {
			*current = append(*current, text)
		}
	}
	require.NotEmpty(t, names)
	require.Len(t, vendors, len(names))
	require.Len(t, products, len(names))
	return vendors, products, names
}
