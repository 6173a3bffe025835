//go:build minimal

// Takes the place of Vault's own file of this name. A build with the tag "minimal" stores in memory or with raft; in
// files, a server that was stopped has its secrets when it starts again.

package command

import (
	aws "github.com/hashicorp/vault/builtin/credential/aws"
	_ "github.com/hashicorp/vault/helper/builtinplugins"
	"github.com/hashicorp/vault/sdk/physical/file"
)

func extendAddonHandlers(handlers *vaultHandlers) {
	handlers.physicalBackends["file"] = file.NewFileBackend
	handlers.loginHandlers["aws"] = &aws.CLIHandler{}
}
