package apiserver

import (
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func enabled(list string) []hardentest.Edit {
	return []hardentest.Edit{hardentest.NoFlag(enableFlag), hardentest.Flag(enableFlag, list)}
}

func TestAdmissionPlugins(t *testing.T) {
	table().Verdicts(t, "apiserver-admission-noderestriction", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass, Says: "is on"},
		{Name: "lost to an own list", Edits: enabled("AlwaysPullImages"), Want: harden.StatusFail, Says: "off by default"},
		{Name: "missing", Edits: []hardentest.Edit{hardentest.NoFlag(enableFlag)}, Want: harden.StatusFail, Says: "off by default"},
		{Name: "in the second flag", Edits: []hardentest.Edit{hardentest.Flag(enableFlag, "AlwaysPullImages")}, Want: harden.StatusPass},
		{Name: "disabled", Edits: append(enabled("AlwaysPullImages"), hardentest.Flag(disableFlag, "Priority, NodeRestriction")), Want: harden.StatusFail, Says: "turned off"},
		{Name: "in the exact list", Edits: []hardentest.Edit{hardentest.NoFlag(enableFlag), hardentest.Flag(exactFlag, "NodeRestriction,LimitRanger")}, Want: harden.StatusPass},
	})
	for id, name := range map[string]string{"apiserver-admission-resourcequota": "ResourceQuota", "apiserver-admission-limitranger": "LimitRanger"} {
		table().Verdicts(t, id, []hardentest.Verdict{
			{Name: "by default", Want: harden.StatusPass, Says: "by default"},
			{Name: "enabled", Edits: enabled("NodeRestriction," + name), Want: harden.StatusPass, Says: "is on"},
			{Name: "disabled", Edits: []hardentest.Edit{hardentest.Flag(disableFlag, name)}, Want: harden.StatusFail, Says: "turned off"},
			{Name: "not in the exact list", Edits: []hardentest.Edit{hardentest.NoFlag(enableFlag), hardentest.Flag(exactFlag, "NodeRestriction")}, Want: harden.StatusFail, Says: "whole list"},
		})
	}
}

func TestAdmissionPluginRemedies(t *testing.T) {
	const (
		node  = "apiserver-admission-noderestriction"
		quota = "apiserver-admission-resourcequota"
	)
	table().Changes(t, []hardentest.Change{
		{Name: "joins the list", Minor: "1.37", Edits: enabled("AlwaysPullImages"), Choice: harden.Choice{Control: node},
			Want: []string{"kube-apiserver.yaml: - - --enable-admission-plugins=AlwaysPullImages", "kube-apiserver.yaml: + - --enable-admission-plugins=AlwaysPullImages,NodeRestriction"}},
		{Name: "leaves the other list", Minor: "1.34", Edits: append(enabled("AlwaysPullImages"), hardentest.Flag(disableFlag, "NodeRestriction,Priority")), Choice: harden.Choice{Control: node},
			Want: []string{
				"kube-apiserver.yaml: - - --disable-admission-plugins=NodeRestriction,Priority", "kube-apiserver.yaml: - - --enable-admission-plugins=AlwaysPullImages",
				"kube-apiserver.yaml: + - --disable-admission-plugins=Priority", "kube-apiserver.yaml: + - --enable-admission-plugins=AlwaysPullImages,NodeRestriction"}},
		{Name: "a default plugin needs no flag", Minor: "1.30", Edits: []hardentest.Edit{hardentest.Flag(disableFlag, "ResourceQuota")}, Choice: harden.Choice{Control: quota},
			Want: []string{"kube-apiserver.yaml: - - --disable-admission-plugins=ResourceQuota"}},
		{Name: "the exact list", Minor: "1.30", Edits: []hardentest.Edit{hardentest.NoFlag(enableFlag), hardentest.Flag(exactFlag, "LimitRanger")}, Choice: harden.Choice{Control: quota},
			Want: []string{"kube-apiserver.yaml: - - --admission-control=LimitRanger", "kube-apiserver.yaml: + - --admission-control=LimitRanger,ResourceQuota"}},
	})
}
