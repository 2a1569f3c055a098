package mockplatform_test

import (
	"testing"

	"walletcompanion/platformclient/mockplatform/mocktest"
	"walletcompanion/platformclient/platformtest"
)

func TestConformance(t *testing.T) { platformtest.Run(t, mocktest.Subject) }
