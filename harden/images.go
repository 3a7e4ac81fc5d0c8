package harden

// imageStays wants the kubelet to leave a static pod's image alone while no container uses it: above a threshold of used space it removes
// such images, as often as every five minutes, and a pod without its image is not started again where no registry is to be reached.
func imageStays(f *Facts, id ComponentID) Precondition {
	p := Precondition{ID: "image-stays", Title: Msg("the kubelet leaves the image of %s alone while it restarts", id), State: Met}
	if f.Machine == nil || f.Kubelet == nil || f.Machine.Images == "" {
		return p
	}
	from := imagesCollectedFrom(f.Kubelet)
	// At 100 the kubelet never does.
	if used := f.Machine.ImagesUsed; from < 100 && used >= from {
		p.State = Unmet
		p.Message = Msg("%d %% of the file system of %s is used, and from %d %% on the kubelet removes images that no container uses, which that of %s is while it restarts; make room first",
			used, f.Machine.Images, from, id)
		p.Hints = []string{"df -h " + f.Machine.Images, "crictl images"}
	}
	return p
}

// imagesCollectedFrom is the percentage of used space from which the kubelet removes images that no container uses
// (imageGCHighThresholdPercent of KubeletConfiguration).
func imagesCollectedFrom(k *KubeletFacts) int {
	const usual = 85
	switch v := k.Field("imageGCHighThresholdPercent").Value.(type) {
	case float64:
		return int(v)
	case int64:
		return int(v)
	case int:
		return v
	}
	return usual
}
