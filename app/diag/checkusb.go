package diag

import (
	"context"
	"io/fs"
	"slices"
	"strings"

	"walletcompanion/reader"
)

// nfcDrivers are kernel drivers that take a contactless reader for themselves, so that
// the smart card service does not get it (reader dossier §5).
var nfcDrivers = []string{"pn533_usb", "pn533", "port100"}

// nfcReaders are readers that these drivers know by vendor and product. Not all of them
// are of class 0B: those are no use to the smart card service.
var nfcReaders = map[string]string{
	"072f:2200": "ACS ACR122U", "04cc:2533": "NXP PN533", "04e6:5591": "SCM SCL3711", "054c:02e1": "Sony RC-S330", "054c:06c1": "Sony RC-S380",
}

// usbReader is one device of USB class 0B, or one that a kernel driver for NFC holds.
type usbReader struct {
	Path    string `json:"path"` // folder in /sys/bus/usb/devices
	ID      string `json:"id"`   // vendor:product
	Name    string `json:"name"`
	Driver  string `json:"driver"` // of the kernel; "usbfs" or empty is right
	CCID    bool   `json:"ccid"`
	Version string `json:"version"` // bcdDevice
}

const usbDevices = "sys/bus/usb/devices"

// usbReaders finds readers in sysfs. Interfaces are folders such as 1-2:1.0 beside
// their device 1-2.
func (m *Computer) usbReaders() []usbReader {
	var found []usbReader
	for _, folder := range m.glob(usbDevices + "/*:*") {
		class := strings.TrimSpace(m.text(folder + "/bInterfaceClass"))
		driver := ""
		if target, err := readLink(m.Root, folder+"/driver"); err == nil {
			driver = base(target)
		}
		name, _, _ := strings.Cut(base(folder), ":")
		device := usbDevices + "/" + name
		field := func(file string) string { return strings.TrimSpace(m.text(device + "/" + file)) }
		one := usbReader{
			Path: name, ID: field("idVendor") + ":" + field("idProduct"), Name: strings.TrimSpace(field("manufacturer") + " " + field("product")),
			Driver: driver, CCID: strings.EqualFold(class, "0b"), Version: field("bcdDevice"),
		}
		known := nfcReaders[one.ID]
		if !one.CCID && known == "" && !slices.Contains(nfcDrivers, driver) {
			continue
		}
		if one.Name == "" {
			one.Name = known
		}
		if one.Name == "" {
			one.Name = one.ID
		}
		found = append(found, one)
	}
	return found
}

// readLink is the target of a symbolic link, where the file system tells it.
func readLink(root fs.FS, name string) (string, error) { return fs.ReadLink(root, name) }

// checkKernel looks for kernel modules that grab contactless readers.
func checkKernel(_ context.Context, m *Computer) Finding {
	if m.Virtual {
		return virtualOnly()
	}
	for _, one := range m.usbReaders() {
		if slices.Contains(nfcDrivers, one.Driver) {
			return Finding{Status: Failed, Outcome: "grabbed", Facts: map[string]any{"Reader": one.Name, "Driver": one.Driver, "id": one.ID}}
		}
	}
	loaded := []string{}
	for line := range strings.Lines(m.text("proc/modules")) {
		if name, _, _ := strings.Cut(line, " "); slices.Contains(nfcDrivers, name) {
			loaded = append(loaded, name)
		}
	}
	if len(loaded) > 0 {
		return Finding{Status: Warning, Outcome: "loaded", Facts: map[string]any{"Modules": strings.Join(loaded, ", ")}}
	}
	return Finding{Status: OK, Outcome: "ok"}
}

// checkUSB compares the readers that the kernel sees with those of the service.
func checkUSB(ctx context.Context, m *Computer) Finding {
	if m.Virtual {
		return virtualOnly()
	}
	if !m.exists(usbDevices) {
		return Finding{Status: Skipped, Outcome: "no-usb"}
	}
	plugged := m.usbReaders()
	names := []string{}
	for _, one := range plugged {
		names = append(names, one.Name+" ("+one.ID+")")
	}
	facts := map[string]any{"Plugged": strings.Join(names, ", "), "usb": plugged}
	infos, err := m.list(ctx)
	class := reader.ClassOf(err)
	switch {
	case len(plugged) == 0:
		return Finding{Status: Warning, Outcome: "none", Facts: facts}
	case class == reader.NoService || class == reader.NoAccess:
		return Finding{Status: Warning, Outcome: "waiting", Facts: facts}
	case err == nil && len(infos) == 0 && !slices.ContainsFunc(plugged, func(one usbReader) bool { return one.CCID }):
		return Finding{Status: Failed, Outcome: "not-ccid", Facts: facts}
	case err == nil && len(infos) == 0 && len(m.ignoreRules()) > 0:
		facts["Rules"] = strings.Join(m.ignoreRules(), ", ")
		return Finding{Status: Failed, Outcome: "ignored", Facts: facts}
	case err == nil && len(infos) == 0:
		return Finding{Status: Failed, Outcome: "unseen", Facts: facts}
	case err != nil:
		return Finding{Status: Warning, Outcome: "waiting", Facts: facts}
	}
	facts["Seen"] = len(infos)
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}

// ignoreRules are the udev rules that tell the smart card service to leave a reader
// alone (PCSCLITE_IGNORE, pcsc-lite 2.3.2 and newer).
func (m *Computer) ignoreRules() []string {
	var found []string
	for _, name := range m.glob("etc/udev/rules.d/*.rules", "usr/lib/udev/rules.d/*.rules", "lib/udev/rules.d/*.rules") {
		for line := range strings.Lines(m.text(name)) {
			if !strings.HasPrefix(strings.TrimSpace(line), "#") && strings.Contains(line, "PCSCLITE_IGNORE") {
				found = append(found, "/"+name)
				break
			}
		}
	}
	return found
}
