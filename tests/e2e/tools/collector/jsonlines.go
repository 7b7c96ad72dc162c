// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
)

// A receiver that reads one file of OTLP/JSON lines with the Collector's own decoder and hands them on: what otlp_json_file
// does, whose newer releases the module proxy does not have.
type jsonLinesConfig struct {
	Path string `mapstructure:"path"`
}

const longestLine = 64 << 20

type jsonLines struct {
	component.StartFunc
	component.ShutdownFunc
}

func newJSONLinesFactory() receiver.Factory {
	return receiver.NewFactory(component.MustNewType("json_lines"),
		func() component.Config { return &jsonLinesConfig{} },
		receiver.WithMetrics(newJSONLines, component.StabilityLevelStable))
}

func newJSONLines(_ context.Context, _ receiver.Settings, config component.Config, next consumer.Metrics) (receiver.Metrics, error) {
	path := config.(*jsonLinesConfig).Path
	start := func(context.Context, component.Host) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, longestLine)
		for number := 1; lines.Scan(); number++ {
			metrics, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(lines.Bytes())
			if err != nil {
				return fmt.Errorf("%s:%d: %w", path, number, err)
			}
			if err := next.ConsumeMetrics(context.Background(), metrics); err != nil {
				return fmt.Errorf("%s:%d: %w", path, number, err)
			}
		}
		return lines.Err()
	}
	return &jsonLines{StartFunc: start}, nil
}
