// A chat of one question, dense and then sparse: go run ./example MODEL.rasp
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	rasp "github.com/rasp-engine/rasp/bindings/go"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(path string) error {
	model, err := rasp.Load(path, rasp.LoadOptions{})
	if err != nil {
		return err
	}
	defer model.Close()
	session, err := model.Open(rasp.SessionOptions{Context: 512})
	if err != nil {
		return err
	}
	defer session.Close()
	info, err := model.Info()
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d layers; rasp %s\n", info.Name, info.NumLayers, rasp.Version())
	question := []rasp.ChatMessage{{Role: "user", Content: "What is the capital of France?"}}
	tokens, err := model.ChatTokenize(question, rasp.ChatOptions{})
	if err != nil {
		return err
	}
	for _, sparsity := range []float32{0, 0.3} {
		if err := session.Reset(); err != nil {
			return err
		}
		if err := session.ClearStats(); err != nil {
			return err
		}
		if err := session.SetSparsity(sparsity); err != nil {
			return err
		}
		if err := session.Prefill(tokens); err != nil {
			return err
		}
		err := session.Generate(context.Background(), 24, func(piece string) bool {
			fmt.Print(piece)
			return true
		})
		if err != nil {
			return err
		}
		stats, err := session.Stats()
		if err != nil {
			return err
		}
		fmt.Printf("\n    [%.0f%% of the linear weights read]\n", 100*stats.Kept)
	}
	return nil
}
