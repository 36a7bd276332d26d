// Reads Kubernetes objects, one JSON document a line, and prints what kstatus says of each: the
// status that Flux and other tools built on it act on.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// longestLine bounds one object, in bytes; etcd refuses larger ones long before.
const longestLine = 4 << 20

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			exit(err)
		}
		result, err := status.Compute(&object)
		if err != nil {
			exit(err)
		}
		answer := map[string]string{"status": string(result.Status), "message": result.Message}
		if err := answers.Encode(answer); err != nil {
			exit(err)
		}
	}
	if err := lines.Err(); err != nil {
		exit(err)
	}
}

func exit(err error) {
	fmt.Fprintln(os.Stderr, "kstatus:", err)
	os.Exit(1)
}
