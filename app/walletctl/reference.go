package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"walletcompanion/app/wire"
)

type faultsCmd struct{}

func (faultsCmd) Run(con *console) error {
	type object struct {
		Name        string  `json:"name"`
		Row         string  `json:"row"`
		Flow        string  `json:"flow"`
		ExpectExit  int     `json:"expectExit"`
		ExpectState *string `json:"expectState"`
		Text        string  `json:"text"`
	}
	list := []object{}
	for _, fault := range wire.Faults() {
		list = append(list, object{fault.Name, fault.Row, fault.Flow, fault.ExpectExit, orNull(fault.ExpectState), fault.Text[con.texts.Name()]})
	}
	return con.print(map[string]any{"faults": list}, func(w io.Writer) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", con.t("console.fault"), con.t("console.row"), con.t("console.meaning"))
		for _, each := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\n", each.Name, each.Row, each.Text)
		}
	})
}

type versionCmd struct{}

func (versionCmd) Run(con *console) error {
	object := map[string]any{"version": wire.Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		modules := []string{}
		for _, module := range info.Deps {
			modules = append(modules, module.Path+" "+module.Version)
		}
		object["modules"] = modules
	}
	return con.print(object, func(w io.Writer) {
		fmt.Fprintf(w, "walletctl\t%s\t%s %s/%s\n", wire.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	})
}
