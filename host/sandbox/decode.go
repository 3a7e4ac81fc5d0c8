package sandbox

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// The decoders of the components: strict, or ignoring fields that they do not know. They are made when they are first needed.
var (
	decodePod           = decoder(false, corev1.AddToScheme)
	decodeKubelet       = decoder(false, kubeletv1beta1.AddToScheme)
	decodeKubeletStrict = decoder(true, kubeletv1beta1.AddToScheme)
	decodeAuthn         = decoder(true, apiserverv1.AddToScheme, addBeta)
)

func decoder(strict bool, add ...func(*runtime.Scheme) error) func(data []byte) (runtime.Object, error) {
	codec := sync.OnceValues(func() (runtime.Decoder, error) {
		scheme := runtime.NewScheme()
		for _, a := range add {
			if err := a(scheme); err != nil {
				return nil, err
			}
		}
		mutate := serializer.DisableStrict
		if strict {
			mutate = serializer.EnableStrict
		}
		return serializer.NewCodecFactory(scheme, mutate).UniversalDeserializer(), nil
	})
	return func(data []byte) (runtime.Object, error) {
		d, err := codec()
		if err != nil {
			return nil, err
		}
		o, _, err := d.Decode(data, nil, nil)
		return o, err
	}
}
