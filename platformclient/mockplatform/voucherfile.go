package mockplatform

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"walletcompanion/wallet"
)

// The file by which vouchers reach the platform (protocol §2.16), in the form of
// recordfile.go:
//
//	H|1|PARTY|DATE|BATCH|CNY|EXPIRES   the last day of use
//	D|SERIAL|PIN|VALUE                 18 digits, 18 digits, fen
const voucherDigits = 18

// VoucherValues are the face values of vouchers, in fen.
var VoucherValues = []wallet.Fen{1000, 2000, 3000, 5000, 10000}

// voucherFile is a file whose every line and whose trailer were checked.
type voucherFile struct {
	recordHeader
	expires  time.Time // from then on they cannot be used
	sum      wallet.Fen
	sha256   string
	vouchers []fileVoucher
}

type fileVoucher struct {
	serial, pin string
	value       wallet.Fen
}

// readVoucherFile reads a file, or refuses it whole. Errors never tell a PIN.
func readVoucherFile(source io.Reader) (*voucherFile, error) {
	file, seen := &voucherFile{}, map[string]bool{}
	sum, err := readRecords(source, recordForm{
		headerFields: 7, detailFields: 4,
		header: func(h recordHeader) error {
			file.recordHeader = h
			last, err := time.ParseInLocation(recordDate, h.further[0], shanghai)
			if err != nil {
				return errors.New("the last day of use is not YYYYMMDD")
			}
			file.expires = last.AddDate(0, 0, 1)
			return nil
		},
		detail: func(fields []string) (wallet.Fen, error) {
			value, err := recordAmount(fields[2])
			switch {
			case !voucherNumber(fields[0]) || !voucherNumber(fields[1]):
				return 0, errors.New("serial and PIN have 18 digits each")
			case err != nil || !slices.Contains(VoucherValues, value):
				return 0, errors.New("this is no face value")
			case seen[fields[0]]:
				return 0, errors.New("the serial stands here twice")
			}
			seen[fields[0]] = true
			file.sum += value
			file.vouchers = append(file.vouchers, fileVoucher{serial: fields[0], pin: fields[1], value: value})
			return value, nil
		},
	})
	file.sha256 = sum
	return file, err
}

// voucherNumber tells whether a text has the form of a serial or a PIN.
func voucherNumber(text string) bool {
	return len(text) == voucherDigits && !strings.ContainsFunc(text, func(c rune) bool { return c < '0' || c > '9' })
}

// writeVoucherFile writes a file that readVoucherFile reads.
func writeVoucherFile(target io.Writer, file *voucherFile) error {
	header := file.recordHeader
	header.further = []string{file.expires.In(shanghai).AddDate(0, 0, -1).Format(recordDate)}
	records := writeRecords(target, header)
	for _, v := range file.vouchers {
		records.detail(v.value, v.serial, v.pin, strconv.FormatInt(int64(v.value), 10))
	}
	return records.close()
}
