package patches

var envFiles = []string{
	"KUBELET_EXTRA_ARGS=\n",
	"# node\nKUBELET_EXTRA_ARGS=\"--hostname-override=cp1 --v=2\"\nOTHER=1\n",
	"KUBELET_EXTRA_ARGS='--hostname-override cp1'",
	"KUBELET_EXTRA_ARGS=--a=1 --b=2 \\\n --c=3\r\n",
	"export KUBELET_EXTRA_ARGS=--x=1\n",
	"KUBELET_EXTRA_ARGS=\"--a=\\\"x y\\\" --node-labels='a b'\"\n",
	"KUBELET_EXTRA_ARGS=\"--a=1\" \"--b=2\"\n",
	"KUBELET_EXTRA_ARGS=--a=1\nKUBELET_EXTRA_ARGS=\"--b=2 --b=3\" \n; c\n",
	"# c \\\nKUBELET_EXTRA_ARGS=--x=1\n",
	"A=1",
	"",
}
