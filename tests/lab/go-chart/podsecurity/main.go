// Command podsecurity reads pod templates as JSON, one after the other, and prints what the restricted Pod Security
// Standard forbids in them, by the rules of the admission plug-in itself.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func run() error {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return err
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for decoder := json.NewDecoder(os.Stdin); ; {
		var template corev1.PodTemplateSpec
		if err := decoder.Decode(&template); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		found := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec))
		if !found.Allowed {
			fmt.Println(found.ForbiddenDetail())
		}
	}
}
