package virtualcard

import "slices"

// The variants: peculiarities of real cards, one at a time. Their names are part
// of the console contract.
const (
	Standard          = "standard"
	LogBefore         = "log-before"
	ProveStub         = "prove-stub"
	ProveNone         = "prove-none"
	SessionStaysOpen  = "session-stays-open"
	PINForLoad        = "pin-for-load"
	T0                = "t0"
	SharedCounter     = "shared-counter"
	EEPROMButCredited = "eeprom-error-but-credited"
	SameRandom        = "same-random"
	Slow              = "slow"
)

// Variant describes one peculiarity for people.
type Variant struct {
	Name string
	ZH   string
	EN   string
}

var variants = []Variant{
	{Standard, "标准卡：与 FMCOS 手册一致，日志记录加一后的序号", "as the FMCOS manual says; logs the number after +1"},
	{LogBefore, "日志记录加一前的序号", "logs the number before +1"},
	{ProveStub, "取交易认证总是返回 9000 和无效数据", "GET TRANSACTION PROVE answers garbage with 9000"},
	{ProveNone, "不支持取交易认证（6D00）", "GET TRANSACTION PROVE is unknown (6D00)"},
	{SessionStaysOpen, "圈存后仍保留会话密钥，同一 MAC2 可再次入账", "keeps the session key after CREDIT FOR LOAD: the same MAC2 credits again"},
	{PINForLoad, "圈存前必须校验 PIN（否则 6982）", "wants the PIN before a load (6982 until VERIFY)"},
	{T0, "接触式 T=0：61xx 后取响应，长度不符时 6Cxx；空日志记录为全零", "contact card, T=0: 61xx and GET RESPONSE, 6Cxx for a wrong Le; unused log records are zeros"},
	{SharedCounter, "圈存与消费共用一个序号（上海式），日志第 3-5 字节为交易后余额", "loads and purchases share one number (as in Shanghai); bytes 3-5 of the log are the balance after"},
	{EEPROMButCredited, "已入账却返回 6581", "credits and answers 6581"},
	{SameRandom, "每次给出相同的随机数", "draws the same random every time"},
	{Slow, "响应缓慢", "answers slowly"},
}

// Variants lists the catalogue in the order in which help shows it.
func Variants() []Variant { return slices.Clone(variants) }

func knownVariant(name string) bool {
	return slices.ContainsFunc(variants, func(v Variant) bool { return v.Name == name })
}
