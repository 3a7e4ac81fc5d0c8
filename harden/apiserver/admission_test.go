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
	try(t, "apiserver-admission-noderestriction", []verdictCase{
		{name: "kubeadm's", want: harden.StatusPass, says: "is on"},
		{name: "lost to an own list", edits: enabled("AlwaysPullImages"), want: harden.StatusFail, says: "off by default"},
		{name: "missing", edits: []hardentest.Edit{hardentest.NoFlag(enableFlag)}, want: harden.StatusFail, says: "off by default"},
		{name: "in the second flag", edits: []hardentest.Edit{hardentest.Flag(enableFlag, "AlwaysPullImages")}, want: harden.StatusPass},
		{name: "disabled", edits: append(enabled("AlwaysPullImages"), hardentest.Flag(disableFlag, "Priority, NodeRestriction")), want: harden.StatusFail, says: "turned off"},
		{name: "in the exact list", edits: []hardentest.Edit{hardentest.NoFlag(enableFlag), hardentest.Flag(exactFlag, "NodeRestriction,LimitRanger")}, want: harden.StatusPass},
	})
	for id, name := range map[string]string{"apiserver-admission-resourcequota": "ResourceQuota", "apiserver-admission-limitranger": "LimitRanger"} {
		try(t, id, []verdictCase{
			{name: "by default", want: harden.StatusPass, says: "by default"},
			{name: "enabled", edits: enabled("NodeRestriction," + name), want: harden.StatusPass, says: "is on"},
			{name: "disabled", edits: []hardentest.Edit{hardentest.Flag(disableFlag, name)}, want: harden.StatusFail, says: "turned off"},
			{name: "not in the exact list", edits: []hardentest.Edit{hardentest.NoFlag(enableFlag), hardentest.Flag(exactFlag, "NodeRestriction")}, want: harden.StatusFail, says: "whole list"},
		})
	}
}

func TestAdmissionPluginRemedies(t *testing.T) {
	const (
		node  = "apiserver-admission-noderestriction"
		quota = "apiserver-admission-resourcequota"
	)
	plan(t, []planCase{
		{name: "joins the list", minor: "1.37", edits: enabled("AlwaysPullImages"), choice: harden.Choice{Control: node},
			want: []string{"kube-apiserver.yaml: - - --enable-admission-plugins=AlwaysPullImages", "kube-apiserver.yaml: + - --enable-admission-plugins=AlwaysPullImages,NodeRestriction"}},
		{name: "leaves the other list", minor: "1.34", edits: append(enabled("AlwaysPullImages"), hardentest.Flag(disableFlag, "NodeRestriction,Priority")), choice: harden.Choice{Control: node},
			want: []string{
				"kube-apiserver.yaml: - - --disable-admission-plugins=NodeRestriction,Priority", "kube-apiserver.yaml: - - --enable-admission-plugins=AlwaysPullImages",
				"kube-apiserver.yaml: + - --disable-admission-plugins=Priority", "kube-apiserver.yaml: + - --enable-admission-plugins=AlwaysPullImages,NodeRestriction"}},
		{name: "a default plugin needs no flag", minor: "1.30", edits: []hardentest.Edit{hardentest.Flag(disableFlag, "ResourceQuota")}, choice: harden.Choice{Control: quota},
			want: []string{"kube-apiserver.yaml: - - --disable-admission-plugins=ResourceQuota"}},
		{name: "the exact list", minor: "1.30", edits: []hardentest.Edit{hardentest.NoFlag(enableFlag), hardentest.Flag(exactFlag, "LimitRanger")}, choice: harden.Choice{Control: quota},
			want: []string{"kube-apiserver.yaml: - - --admission-control=LimitRanger", "kube-apiserver.yaml: + - --admission-control=LimitRanger,ResourceQuota"}},
	})
}
