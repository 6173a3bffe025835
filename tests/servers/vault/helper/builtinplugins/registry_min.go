//go:build minimal

// Takes the place of Vault's own file of this name. A build with the tag "minimal" has the secrets engine kv and the
// login methods approle, cert, jwt and userpass; these two come with a full build, beside hundreds of packages more.

package builtinplugins

import (
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	aws "github.com/hashicorp/vault/builtin/credential/aws"
)

func extendAddonPlugins(plugins *registry) {
	plugins.credentialBackends["aws"] = credentialBackend{Factory: aws.Factory}
	plugins.credentialBackends["kubernetes"] = credentialBackend{Factory: kubernetes.Factory}
}
