package docs

import "walletcompanion/wallet"

// parts are the generated parts by the name in their marker.
var parts = map[string]part{
	// card-interface.md
	"commands": commandTable, "refused": refusedTable, "sweep": sweepTable, "profiles": profileTable, "status-words": statusTable, "status-by-command": statusCommandTable,
	"guard-rules": guardRules, "card-bounds": cardBounds, "card-example": cardExample,
	// reader-interface.md
	"reader-states":  constTable("reader", "State", []string{"状态 State", "含义 Meaning"}),
	"reader-classes": classTable, "service-errors": serviceErrors, "reader-cases": suiteCases, "reader-times": readerTimes,
	// platform-interface.md
	"routes": routeTable, "signed-objects": signedObjects, "signature-example": signatureExample, "seal-example": sealExample,
	"stages":          constTable("wallet", "Stage", []string{"阶段 Stage", "含义 Meaning"}),
	"stage-table":     stageTable(wallet.KindLoad),
	"purchase-stages": stageTable(wallet.KindPurchase),
	"purchases":       purchaseTable,
	"evidence":        evidenceTable,
	"suspense-causes": constTable("rules", "Cause", []string{"原因 Cause", "说明 Remark"}),
	"outcomes":        constTable("rules", "Outcome", []string{"结果 Outcome", "含义 Meaning"}),
	"platform-times":  platformTimes, "platform-codes": platformCodes,
	// readers.md
	"reader-models": modelTable,
	// errors.md
	"exits": exitTable, "error-index": errorIndex, "error-texts": errorTexts,
}
