package network

import (
	"testing"

	"forensics/analyzers/analyzertest"
)

func TestCases(t *testing.T) { analyzertest.Run(t, Analyzer) }
